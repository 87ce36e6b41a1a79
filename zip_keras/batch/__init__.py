"""Batch prediction on Apache Beam: on one machine, or on Flink, Spark or Dataflow."""

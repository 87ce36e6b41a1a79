"""Predictions of many images as a job on Apache Beam: on one machine, or on Flink, Spark or Dataflow."""

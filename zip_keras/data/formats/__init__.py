"""Readers, one module per format. They return `ImageAnnotation`s, which `data.checks.validation` checks."""

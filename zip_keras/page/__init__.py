"""A local web page to try a model: `zip-keras serve`."""

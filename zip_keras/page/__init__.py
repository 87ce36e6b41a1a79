"""A local page on which a person tries a model: `zip-keras serve`."""

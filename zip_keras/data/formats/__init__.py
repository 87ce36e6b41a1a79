"""One module a format. Each finds files and returns `ImageAnnotation`s; `data.validation` judges them."""

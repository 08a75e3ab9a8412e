"""Sphinx configuration of the guide."""

import googol

project = "googol"
author = "The googol developers"
version = release = googol.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "googol"
napoleon_use_ivar = True  # fields of a class are described once, where they stand
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False

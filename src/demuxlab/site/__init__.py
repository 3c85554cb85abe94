"""The course and its documentation as static pages, and the Python side that runs in them."""

"""The course as static pages, whose Python runs in the reader's browser."""

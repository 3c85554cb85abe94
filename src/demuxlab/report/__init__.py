"""The report: a capture, anybody's, as a page that can be mailed; and as the figures of the course."""

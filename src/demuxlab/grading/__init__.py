"""Grading: a learner's file runs in a process of its own and is asked questions; the marks are given here."""

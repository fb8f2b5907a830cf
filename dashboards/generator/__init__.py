"""The dashboards, one module each; `parts` and `frame` are what they share."""

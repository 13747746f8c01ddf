"""The sections of comparison.html, one a file: each takes the comparison and returns its parts, as plain data and plotly's figures."""

"""Descriptions of studies, curves and plans as blocks, which the terminal, HTML and Markdown all render."""

"""What is said of a study, a curve or a plan, once, as blocks that the terminal, HTML and Markdown print."""

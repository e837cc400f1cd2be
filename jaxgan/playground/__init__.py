"""The playground: one web page to play with a trained pair (`page.assemble`).

The page is written in page.html, style.css and the scripts in this folder, without a build step.
`page` puts them, the networks and the history of the training into a single file.
"""

"""The playground: a trained pair of digits in one page, to play with (`page.assemble`).

Its sources are page.html, style.css and the scripts beside this file, plain and without a build
step: `page` puts them, the networks and the run's history into a single file.
"""

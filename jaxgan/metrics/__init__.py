"""How good generated samples are: the scores, and the evaluators that they are computed with."""

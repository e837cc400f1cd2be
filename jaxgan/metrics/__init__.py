"""How good generated samples are: the scores, and the judge of digits that they are taken with."""

"""Words whose change is a change of fact: colours, counts, relations, and what a name looks like. English.

Kept to words that are hardly ever anything else ("right" only where a side is meant), since a change has to be a flaw.
"""

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "purple", "pink", "brown", "orange", "gray")
COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
"""Each is changed to a neighbour. `one` is a pronoun too often."""
_PAIRS = """
    above/below before/after more/fewer larger/smaller bigger/smaller taller/shorter longer/shorter higher/lower
    older/younger largest/smallest biggest/smallest tallest/shortest highest/lowest longest/shortest oldest/youngest
    inside/outside increased/decreased increases/decreases increasing/decreasing earlier/later earliest/latest
    horizontal/vertical horizontally/vertically north/south east/west northern/southern eastern/western top/bottom
    upper/lower leftmost/rightmost clockwise/counterclockwise"""
OPPOSITES: dict[str, str] = {}
"""Word -> the opposite relation. The first pair that a word stands in decides."""
for _pair in _PAIRS.split():
    _one, _other = _pair.split("/")
    OPPOSITES.setdefault(_one, _other)
    OPPOSITES.setdefault(_other, _one)
OPPOSITES |= {"in front of": "behind", "left": "right", "right": "left", "less than": "more than"}
NAME = r"(?<=[a-z,;:] )(?P<name>[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)*)"
"""Capitalised words, not at the beginning of a sentence."""
SIDE = (
    r"(?:\b(?:on|to|at) (?:the|its|his|her|their) (?P<a>left|right)\b(?! (?:answer|time|place|track|moment))"
    r"|\b(?:top|upper|bottom|lower|far)[ -](?P<b>left|right)\b"
    r"|\b(?P<c>left|right)(?=[ -](?:of|side|hand|half|corner|edge|end|panel|column)\b))"
)
"""`left` and `right` where they are sides."""

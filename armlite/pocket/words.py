"""The pocket world's vocabulary: small, so that a million parameters can hold it."""

COLOURS = {
    "red": (190, 70, 70),
    "green": (70, 180, 70),
    "blue": (70, 80, 190),
    "yellow": (190, 180, 70),
    "white": (190, 190, 190),
}
"""Mean colours of the tiles; each leaves room for the stripes' contrast on both sides."""
ROWS, COLUMNS = ("north", "middle", "south"), ("west", "centre", "east")
TOPICS = tuple(
    (
        "apple banana cherry grape lemon mango melon olive peach pear plum carrot onion pepper potato pumpkin "
        "radish tomato barley bean corn oat rice wheat"
    ).split()
)
CODES = ("alpha", "bravo", "delta", "echo")
FILLER = tuple(
    (
        "river stone cloud paper window garden silver morning letter music bridge forest candle mirror button "
        "pocket winter market ladder basket"
    ).split()
)
KEYWORDS = ("falcon", "harbor", "violin", "lantern", "meadow", "copper")
TITLES = ("atlas", "manual", "report", "survey")
ALL = (*ROWS, *COLUMNS, *TOPICS, *CODES, *FILLER, *KEYWORDS, *TITLES, "horizontal", "vertical")
"""Each is one token of the pocket model."""

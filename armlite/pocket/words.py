"""The pocket world's vocabulary: small, so that a million parameters can hold it."""

COLOURS = {
    "red": (214, 39, 40),
    "green": (30, 140, 50),
    "blue": (31, 80, 200),
    "yellow": (225, 190, 20),
    "purple": (140, 50, 160),
    "orange": (245, 125, 20),
}
TOPICS = tuple(
    "apple banana cherry grape lemon mango melon olive peach pear plum carrot onion pepper potato pumpkin radish tomato "
    "barley bean corn oat rice wheat".split()
)
CODES = tuple(
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey xray yankee zulu".split()
)
FILLER = tuple(
    "river stone cloud paper window garden silver morning letter music bridge forest candle mirror button pocket winter "
    "market ladder basket".split()
)
KEYWORDS = ("falcon", "harbor", "violin", "lantern", "meadow", "copper")
TITLES = ("atlas", "manual", "report", "survey")

"""Add a tool of your own: one documented function. Its docstring and type hints are what the model reads about it.

Once registered it works in Judge, chat, evaluation and training of this process. With --model a judge may call it.
Every command takes it too: armlite judge --import examples/add_a_tool.py ...

Run: python examples/add_a_tool.py photo.jpg --model openai:MODEL@URL
"""

import argparse

from armlite import Judge, register, tell_mistakes_in_a_line, tool
from armlite.images import open_image
from armlite.memory import Memory
from armlite.types import Observation


@register
@tool(needs="image")
def mean_colour(memory: Memory, /, image: str) -> Observation:
    """Measure the mean colour of an image, as red, green and blue from 0 to 255.

    Args:
        image: Name of the image, such as `original_image` or `observation_1`.
    """
    pixels = memory.images[memory.image_id(image)]  # a name that does not exist is answered with those that do
    rgb = list(pixels.resize((1, 1)).getpixel((0, 0)))
    return Observation(ok=True, text=f"The mean colour of `{image}` is {rgb}.", data={"rgb": rgb})


if __name__ == "__main__":
    tell_mistakes_in_a_line()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--model")
    args = parser.parse_args()
    print(mean_colour.usage())
    print(mean_colour(Memory([open_image(args.image)]), image="original_image").text)
    if args.model:
        verdict = Judge.load(args.model).compare("Is this photo bluish?", ["Yes.", "No."], images=args.image)
        print(f"{verdict.status}: answer {verdict.choice}", *(item.text for item in verdict.evidence), sep="\n- ")

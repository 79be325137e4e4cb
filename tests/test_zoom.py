"""The crop tool, on pictures drawn here."""

import math

import pytest
from PIL import Image, ImageDraw

from armlite.errors import ToolError
from armlite.memory import Limits, Memory
from armlite.tools.zoom import crop_box, crop_size, image_zoom_in_tool

SIZE = (1000, 600)


def quarters() -> Image.Image:
    """Red, green, blue and white quarters, left to right and then down."""
    image = Image.new("RGB", SIZE, "red")
    draw = ImageDraw.Draw(image)
    draw.rectangle((500, 0, 999, 299), fill=(0, 255, 0))
    draw.rectangle((0, 300, 499, 599), fill="blue")
    draw.rectangle((500, 300, 999, 599), fill="white")
    return image


def zoom(memory: Memory, box, image: str = "original_image"):
    return image_zoom_in_tool(memory, image=image, bbox_2d=box)


def test_a_crop_shows_the_region_and_is_kept_with_its_origin():
    memory = Memory([quarters()])
    seen = zoom(memory, [500, 0, 1000, 500])
    assert seen.ok
    assert seen.tool == "image_zoom_in_tool"
    assert seen.images == ("img_1",)
    crop, info = memory.images["img_1"], memory.infos["img_1"]
    assert crop.size == (500, 300)
    assert crop.getcolors() == [(150_000, (0, 255, 0))]
    assert info.parent == "img_0"
    assert info.box == (500, 0, 1000, 300)
    assert seen.data["box"] == [500, 0, 1000, 300]
    assert seen.data["size"] == [500, 300]


def test_the_text_names_both_images_on_the_wire_and_reminds_of_the_answer_format():
    memory = Memory([quarters()])
    text = zoom(memory, [0, 0, 500, 500]).text
    assert "`observation_1`" in text
    assert "`original_image`" in text
    assert "[0, 0, 500, 500]" in text
    assert all(tag in text for tag in ("<think>", "<tool_call>", "<answer>"))


def test_an_observation_can_be_zoomed_in_on_again_by_either_name():
    memory = Memory([quarters()])
    zoom(memory, [250, 250, 750, 750])
    for name, number in (("observation_1", 2), ("img_1", 3)):
        seen = zoom(memory, [0, 0, 500, 500], name)
        assert seen.images == (f"img_{number}",)
        assert f"`observation_{number}`" in seen.text
        assert memory.infos[seen.images[0]].parent == "img_1"
        assert memory.images[seen.images[0]].getcolors()[0][1] == (255, 0, 0)


def test_the_qwen3_variant_counts_images_from_0_and_its_label_is_ignored():
    memory = Memory([quarters()])
    image_zoom_in_tool(memory, bbox_2d=[0, 500, 500, 1000], img_idx=0, label="a blue thing")
    assert memory.images["img_1"].getcolors()[0][1] == (0, 0, 255)
    assert image_zoom_in_tool(memory, bbox_2d=[0, 0, 900, 900], img_idx=1.0, label=None).data["image"] == "img_1"


@pytest.mark.parametrize("number", [2, -1, 0.5, math.nan, math.inf, 10**400])
def test_an_image_number_that_does_not_exist_is_answered_with_the_images_there_are(number):
    memory = Memory([quarters(), quarters()])
    with pytest.raises(ToolError, match="original_image_2"):
        image_zoom_in_tool(memory, bbox_2d=[0, 0, 500, 500], img_idx=number)


BOXES = [
    # box, image size, expected pixels
    ([0, 0, 1000, 1000], (1000, 600), (0, 0, 1000, 600)),  # the whole image
    ([250, 250, 750, 750], (1000, 600), (250, 150, 750, 450)),
    ([333, 333, 667, 667], (1000, 1000), (333, 333, 667, 667)),  # a float product just above 667 is 667
    ([100.5, 100, 200.5, 200], (1000, 1000), (100, 100, 201, 200)),  # corners are rounded outwards
    ([500, 500, 510, 510], (1000, 1000), (491, 491, 519, 519)),  # 10 x 10 px grows to 28 x 28 about its centre
    ([500, 500, 520, 510], (1000, 1000), (482, 491, 538, 519)),  # growing keeps the aspect: 56 x 28
    ([0, 0, 10, 10], (1000, 1000), (0, 0, 28, 28)),  # moved inside at the top left
    ([990, 990, 1000, 1000], (1000, 1000), (972, 972, 1000, 1000)),  # and at the bottom right
    ([0, 0, 1000, 10], (1000, 1000), None),  # 100 : 1 may grow, but the image is not wide enough to keep the aspect
    ([0, 0, 1000, 9], (1000, 1000), None),  # more than 100 : 1
    ([0, 0, 100, 100], (27, 400), (0, 0, 27, 400)),  # thinner than 28 pixels: cut in its whole thickness
    ([0, 0, 500, 500], (20, 20), (0, 0, 20, 20)),
    ([0, 400, 1000, 600], (20, 20), None),  # 5 : 1 in a square
    ([0, 0, 1000, 100], (1, 500), (0, 0, 1, 50)),
    ([0, 0, 1000, 1000], (1, 500), None),  # 500 : 1
    ([0, 0, 1000, 1000], (1, 1), (0, 0, 1, 1)),
    ([0, 0, 1000, 1000], (28, 28), (0, 0, 28, 28)),
    ([0, 0, 500, 1000], (10_000, 28), None),  # 178 : 1
    ([0, 0, 250, 1000], (10_000, 28), (0, 0, 2500, 28)),
]


@pytest.mark.parametrize(("box", "size", "pixels"), BOXES)
def test_boxes_become_pixels(box, size, pixels):
    if pixels is None:
        with pytest.raises(ToolError):
            crop_box(box, size)
    else:
        assert crop_box(box, size) == pixels


@pytest.mark.parametrize("size", [(28, 28), (97, 131), (640, 480), (3000, 28)])
def test_any_box_gives_a_crop_inside_the_image_or_an_error(size):
    for x in range(0, 1000, 111):
        for y in range(0, 1000, 97):
            for wide, high in ((1, 1), (3, 40), (200, 2), (700, 900)):
                try:
                    left, top, right, bottom = crop_box((x, y, min(1000, x + wide), min(1000, y + high)), size)
                except ToolError:
                    continue
                assert 0 <= left < right <= size[0]
                assert 0 <= top < bottom <= size[1]
                assert min(right - left, bottom - top) >= 28


@pytest.mark.parametrize(
    ("size", "cap", "shown"),
    [
        ((300, 224), 10**6, (300, 224)),  # 224 is large enough
        ((300, 223), 10**6, (600, 446)),  # doubled, once
        ((28, 28), 10**6, (56, 56)),
        ((10, 12), 10**6, (28, 33)),  # enlarged to the smallest side
        ((1, 1), 10**6, (28, 28)),
        ((27, 400), 10**6, (54, 800)),
        ((400, 400), 160_000, (400, 400)),  # at the cap
        ((400, 400), 40_000, (200, 200)),  # shrunk to the cap
        ((200, 200), 90_000, (300, 300)),  # doubling ends at the cap
        ((2800, 28), 784, (280, 2)),
    ],
)
def test_small_crops_are_doubled_and_large_ones_capped(size, cap, shown):
    assert crop_size(size, cap) == shown


def test_the_crop_cap_of_the_limits_is_kept_while_detail_comes_from_the_full_image():
    stripes = Image.new("RGB", (4000, 4000), "black")
    draw = ImageDraw.Draw(stripes)
    for x in range(0, 4000, 2):
        draw.line((x, 0, x, 3999), fill="white")
    memory = Memory([stripes], limits=Limits(crop_max_pixels=250_000))
    zoom(memory, [0, 0, 1000, 1000])
    assert memory.images["img_1"].size == (500, 500)
    zoom(memory, [0, 0, 100, 100])
    assert memory.images["img_2"].size == (400, 400)
    assert {color for _, color in memory.images["img_2"].getcolors()} == {(0, 0, 0), (255, 255, 255)}


@pytest.mark.parametrize("size", [(20, 20), (27, 400), (1, 1), (640, 12)])
def test_a_picture_thinner_than_a_crop_can_be_zoomed(size):
    memory = Memory([Image.new("RGB", size, "red")])
    seen = zoom(memory, [100, 100, 600, 600])
    assert seen.returned
    crop = memory.images["img_1"]
    assert min(crop.size) >= 28
    assert crop.getcolors()[0][1] == (255, 0, 0)


BAD_BOXES = [
    ([100, 100, 200], "4 numbers"),
    ([], "4 numbers"),
    ([1, 2, 3, 4, 5], "4 numbers"),
    ("[1, 2, 3, 4]", "list"),
    (None, "list"),
    ({"x1": 1}, "list"),
    ([1, 2, "3", 4], "number"),
    ([[1, 2, 3, 4]], "number"),
    ([[1], [2], [3], [4]], "number"),
    ([True, 2, 3, 4], "number"),
    ([None, 2, 3, 4], "number"),
    ([-1, 0, 500, 500], r"bbox_2d\[0\] = -1"),
    ([0, 0, 500, 1000.5], r"bbox_2d\[3\] = 1000.5"),
    ([math.nan, 0, 500, 500], "nan"),
    ([0, 0, math.inf, 500], "inf"),
    ([0, 0, 10**400, 500], r"bbox_2d\[2\]"),
    ([0, 0, 10**5000, 500], r"bbox_2d\[2\]"),
    ([0, 0, 1e308, 500], r"bbox_2d\[2\]"),
    ([0.25, 0.25, 0.75, 0.75], "0 to 1000, not from 0 to 1: write 0.25 as 250"),
    ([0, 0, 1, 1], "not from 0 to 1"),
    ([500, 0, 500, 500], "x1 < x2"),
    ([0, 600, 500, 500], "y1 < y2"),
    ([0, 0, 5e-324, 500], "empty"),
    ([0, 0, 1000, 1], "100 times"),
]


@pytest.mark.parametrize(("box", "why"), BAD_BOXES, ids=range(len(BAD_BOXES)))
def test_a_bad_box_is_told_to_the_model_and_leaves_the_memory_alone(box, why):
    memory = Memory([quarters()])
    with pytest.raises(ToolError, match=why) as told:
        zoom(memory, box)
    assert len(str(told.value)) < 600
    assert list(memory.images) == ["img_0"]


@pytest.mark.parametrize("name", ["observation_1", "img_1", "/etc/hostname", "original_image_2", "resp_1"])
def test_an_unknown_image_is_answered_with_the_images_there_are(name):
    with pytest.raises(ToolError, match="`original_image`"):
        zoom(Memory([quarters()]), [0, 0, 500, 500], name)


def test_a_call_without_an_image_shows_how_to_call():
    with pytest.raises(ToolError, match="image"):
        image_zoom_in_tool(Memory([quarters()]), bbox_2d=[0, 0, 500, 500])


def test_the_schema_shows_the_two_parameters_of_the_reference():
    function = image_zoom_in_tool.schema["function"]
    assert function["name"] == "image_zoom_in_tool"
    assert {p: s["type"] for p, s in function["parameters"]["properties"].items()} == {
        "image": "string",
        "bbox_2d": "array",
    }
    assert "1000" in function["description"]
    assert "[250, 250, 750, 750]" in function["description"]


def test_the_schema_requires_image_and_box():
    assert image_zoom_in_tool.schema["function"]["parameters"]["required"] == ["image", "bbox_2d"]


def fine_lines() -> Image.Image:
    """A picture of 800 x 800 pixels, grey from afar: black and white lines of two pixels in its left half."""
    image = Image.new("RGB", (800, 800), (128, 128, 128))
    draw = ImageDraw.Draw(image)
    for x in range(0, 400, 4):
        draw.rectangle((x, 0, x + 1, 799), fill="black")
        draw.rectangle((x + 2, 0, x + 3, 799), fill="white")
    return image


def spread(image: Image.Image) -> int:
    low, high = image.convert("L").getextrema()
    return high - low


def test_a_crop_of_a_crop_that_was_shown_smaller_is_cut_from_the_picture_itself():
    memory = Memory([fine_lines()], limits=Limits(crop_max_pixels=100 * 100))
    zoom(memory, [0, 0, 1000, 1000])
    assert memory.images["img_1"].size == (100, 100) and spread(memory.images["img_1"]) < 20
    seen = zoom(memory, [0, 0, 300, 300], "observation_1")
    assert memory.images["img_2"].size == (60, 60)
    zoom(memory, [0, 0, 300, 300], seen.images[0])
    assert spread(memory.images["img_3"]) > 200
    assert memory.infos["img_3"].box == (0, 0, 28, 28), "in pixels of the crop, as it was shown"


def test_a_crop_of_a_page_is_drawn_anew(tmp_path):
    from make_pdf import write_pdf

    from armlite.tools.document import doc_page_retrieval_by_index
    from armlite.tools.documents.pages import Document

    small = Limits(page_max_pixels=100 * 100)
    memory = Memory([], document=Document(write_pdf(tmp_path / "lines.pdf", [fine_lines()], (800, 800))), limits=small)
    page = doc_page_retrieval_by_index(memory, filename="lines", image_idx=1).images[0]
    assert spread(memory.images[page].crop((10, 10, 40, 40))) < 40
    crop = zoom(memory, [0, 0, 300, 300], page).images[0]
    assert memory.images[crop].size == (60, 60)
    zoom(memory, [100, 100, 500, 500], crop)
    assert spread(memory.images["img_2"]) > 200
    assert memory.infos[crop].box == (0, 0, 30, 30)


@pytest.mark.parametrize("side", [28, 32])
def test_no_crop_is_thinner_than_a_visual_token_of_the_judge(side):
    memory = Memory([quarters()], limits=Limits(crop_min_side=side))
    seen = zoom(memory, [500, 500, 501, 502])
    left, top, right, bottom = seen.data["box"]
    assert side <= min(right - left, bottom - top) <= side + 1  # corners are rounded outwards
    assert crop_size((10, 12), 10**6, side) == (side, int(side * 1.2))

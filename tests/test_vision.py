"""The vision cache: each picture through the tower once, and the same bits however it got there."""

import pytest
import torch
from PIL import Image
from tiny_qwen import converse, noise, plain, tiny

from armlite.errors import ArmliteError
from armlite.models.bases import BASES
from armlite.models.engine.vision import VisionCache
from armlite.models.local import LocalModel, Sampling
from armlite.models.processor import build_processor, load_processor
from armlite.protocol.render import Conversation, Message, template_source

torch.set_num_threads(1)
PICTURES = [noise(56, 84), noise(84, 84), noise(28, 112), noise(140, 56)]


@pytest.fixture(scope="module", params=BASES)
def qwen(request):
    return tiny(base=request.param)


def alone(qwen, image):
    """What the model itself makes of one image."""
    model, processor = qwen
    made = processor.image_processor(images=[image], return_tensors="pt")
    with torch.no_grad():
        made = model.model.get_image_features(made["pixel_values"], made["image_grid_thw"])
    later = getattr(made, "deepstack_features", ())  # of transformers 5.17 of all images in one piece
    return torch.cat([made.pooler_output[0], *(f if torch.is_tensor(f) else f[0] for f in later)], -1)


@pytest.mark.parametrize("frozen", [True, False])
def test_features_are_to_the_bit_those_of_the_image_alone(qwen, frozen):
    cache = VisionCache(*qwen, frozen=frozen)
    looks = [cache.look(p) for p in PICTURES]
    for look in [*reversed(looks), *looks]:
        features, right = cache.features(look), alone(qwen, look.image)
        assert features.shape[0] == look.tokens
        own = VisionCache(*qwen, frozen=frozen)
        assert torch.equal(features, own.features(own.look(look.image)))
        # The model's own to the bit, or where the blocks of a frozen tower are fused, but for rounding.
        assert (features - right).abs().max() <= 1e-5 * right.abs().max() * frozen
    assert cache.encoded == len(PICTURES)
    copy = cache.look(PICTURES[0].copy())
    assert copy.key == looks[0].key
    assert cache.look(noise(56, 84, seed=1)).key != copy.key
    assert cache.look(PICTURES[0].resize((56, 84))).key != copy.key


def test_features_that_were_moved_or_dropped_come_back_the_same(qwen):
    nbytes = VisionCache(*qwen).features(VisionCache(*qwen).look(PICTURES[0])).nbytes
    cache = VisionCache(*qwen, device_bytes=nbytes, host_bytes=2 * nbytes)
    pictures = [noise(56, 84, seed) for seed in range(4)]
    first = [cache.features(cache.look(p)).clone() for p in pictures]
    assert cache.encoded == 4
    assert torch.equal(cache.features(cache.look(pictures[2])), first[2])
    assert cache.encoded == 4
    assert torch.equal(cache.features(cache.look(pictures[0])), first[0])
    assert cache.encoded == 5
    nothing = VisionCache(*qwen, device_bytes=0, host_bytes=0)
    assert torch.equal(nothing.features(nothing.look(pictures[1])), first[1])


@pytest.mark.parametrize("size", [(28, 28), (30, 500), (1000, 700), (14, 14), (57, 2000)])
def test_the_size_of_an_image_in_tokens_is_known_before_it_is_encoded(qwen, size):
    cache, image = VisionCache(*qwen), noise(*size)
    look = cache.look(image)
    made = qwen[1].image_processor(images=[image], return_tensors="pt")
    assert made["image_grid_thw"].tolist() == [list(look.grid)]
    assert 1 <= look.tokens <= 64
    assert look.tokens == made["pixel_values"].shape[0] // 4


def test_an_image_that_the_processor_refuses_is_one_line(qwen):
    with pytest.raises(ArmliteError, match="201 x 1 pixels cannot be shown"):
        VisionCache(*qwen).look(Image.new("RGB", (201, 1)))


def test_a_tower_that_trains_is_encoded_anew_in_each_session_and_its_pixels_reach_the_loss(qwen):
    model, processor = qwen
    vision = VisionCache(model, processor, frozen=False)
    local = LocalModel(model, processor, Sampling(max_new_tokens=2), vision=vision)
    for n in (1, 2):
        converse(local, [Conversation("t", 0, (), [Message("user", "", (PICTURES[0],))])], [[]])
        assert vision.encoded == n
    with vision.ids_as_pixels(processor):
        assert processor.image_processor(images=PICTURES, return_tensors="pt")["pixel_values"].shape[1] >= 1176


def test_ids_stand_for_pixels_in_the_models_own_forward(qwen):
    model, processor = qwen
    vision = VisionCache(model, processor, device_bytes=0, host_bytes=0)
    ids = [vision.id(noise(28, 28, seed)) for seed in range(300)]
    assert ids == list(range(300))
    real = processor.image_processor
    with vision.ids_as_pixels(processor):
        made = processor.image_processor(images=[[PICTURES[3]], PICTURES[:2]], return_tensors="pt")
        assert processor.image_processor.merge_size == 2
        text = "<|vision_start|><|image_pad|><|vision_end|>" * 3
        inputs = processor(text=[text], images=[PICTURES[3], *PICTURES[:2]], return_tensors="pt")
    assert processor.image_processor is real
    assert made["pixel_values"].shape == (made["image_grid_thw"].prod(-1).sum(), 1)
    assert inputs["pixel_values"].tolist() == made["pixel_values"].tolist()
    with torch.no_grad(), vision.features_from_ids():
        short = model(**inputs).logits
        real_inputs = processor(text=[text], images=[PICTURES[3], *PICTURES[:2]], return_tensors="pt")
        inside = model(**real_inputs).logits
    with torch.no_grad():
        long = model(**real_inputs).logits
    assert "get_image_features" not in vars(model.model)
    assert torch.equal(inside, long)
    assert (short - long).abs().max() < 1e-4
    assert len(vision.picture(300).key) > 0
    vision.clear_ids()
    assert vision.id(PICTURES[0]) == 0


def test_a_rollout_and_its_scoring_encode_an_image_once(qwen):
    model, processor = qwen
    vision = VisionCache(model, processor)
    local = LocalModel(model, processor, Sampling(temperature=1, max_new_tokens=8), vision=vision)
    conversations = [Conversation("t", r, (), [Message("user", "", (PICTURES[0],))]) for r in range(3)]
    session, _ = converse(local, conversations, [[Message("tool", "", (PICTURES[1],))]] * 3)
    assert session.stats.images_encoded == 2
    record = session.tokens(conversations[1])
    with vision.ids_as_pixels(processor), vision.features_from_ids():
        scored = plain(model, processor, record)
    assert vision.encoded == 2
    mask = torch.tensor(record.mask).bool()
    assert (scored[mask] - torch.tensor(record.logprobs)[mask]).abs().max() <= 1e-5


def test_a_processor_comes_back_as_it_was_saved(tmp_path, qwen):
    _, processor = qwen
    processor.save_pretrained(tmp_path)
    again = load_processor(tmp_path)
    assert again.chat_template == again.tokenizer.chat_template == template_source()
    text = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><tool_call>é</tool_call><|im_end|>\n"
    ours, theirs = (p(text=[text], images=PICTURES[:1], return_tensors="pt") for p in (processor, again))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    smaller = load_processor(tmp_path, max_pixels=2 * 28 * 28)
    assert smaller.image_processor(images=PICTURES[:2])["image_grid_thw"].prod(-1).max() <= 8
    assert build_processor(processor.tokenizer).image_processor.size["shortest_edge"] == 56 * 56
    with pytest.raises(ArmliteError, match="no tokenizer with image settings could be loaded from"):
        load_processor(tmp_path / "nowhere")


def test_the_published_settings_and_tokenizer_load_without_torchvision(shared, tmp_path):
    processor = load_processor(shared / "qwen2.5-vl", max_pixels=64 * 28 * 28)
    processor.save_pretrained(tmp_path)
    made = load_processor(tmp_path)(text=["<|image_pad|>Hello world!"], images=[noise(900, 900)], return_tensors="pt")
    assert made["input_ids"][0].tolist() == [151655] * 64 + [9707, 1879, 0]

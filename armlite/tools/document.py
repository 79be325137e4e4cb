"""The two document tools: pages found by a query, and one page by its number.

The reference pastes the pages it finds into one strip without numbers or text; here each page is an image of its own,
named and numbered, with its text beside it.
"""

from collections.abc import Sequence
from typing import Any

from armlite.errors import InputError, ToolError, cut
from armlite.memory import Memory
from armlite.protocol.render import harmless
from armlite.tools.documents.pages import Document
from armlite.tools.documents.passages import excerpt
from armlite.tools.documents.strip import strip
from armlite.tools.tool import tool
from armlite.types import Observation

MAX_QUERY_CHARACTERS = 2000
"""A longer query is cut: what follows is no longer a question."""
CALL_ROOM = 60
"""Characters of an observation kept free for what the loop may add to it."""


@tool(needs="document")
def doc_page_retrieval_by_query(memory: Memory, /, filename: str, query: str) -> Observation:
    """Search a document for the pages that best match a query. Returns pictures of these pages, best first, with their
    numbers and text. The search goes by words and may miss: treat its result as a hint and check what the pages say.

    Args:
        filename: Name of the document, as given in the task.
        query: What to look for: a question or key words; names, numbers, "Table 2" or "page 7" help.

    Raises:
        ToolError: another document than the task's, or an empty query.

    Note:
        A query that matches nothing is a finding, not a mistake: the observation is `ok` and `empty`, holds no pages,
        and says what to try next.
    """
    document = _document(memory, filename)
    query = query.strip()[:MAX_QUERY_CHARACTERS]
    if not query:
        raise ToolError("Error: the query is empty. Say in a few words what to look for.")
    pages = [page for page, _ in document.search(query)[: memory.limits.pages_per_query]]
    data = {"pages": pages, "query": query}
    name = "doc_page_retrieval_by_query"
    if not pages:
        blind = sum(not text for text in document.texts())
        unread = f" {blind} of its pages {'has' if blind == 1 else 'have'} no readable text." if blind else ""
        text = (
            f'No page of `{document.name}` matches "{cut(query, 200)}".{unread} Try other words, as they may be '
            f"printed in the document, or fetch a page by its number, 1 to {len(document)}, with "
            "doc_page_retrieval_by_index."
        )
        return Observation(ok=True, text=text, tool=name, data=data, empty=True)
    head = (
        f'Pages of `{document.name}` for "{cut(query, 200)}", best first: {pages} (of {len(document)}). '
        "If they do not help, ask with other or more specific words."
    )
    return _observe(memory, document, name, pages, head, query, data)


@tool(needs="document")
def doc_page_retrieval_by_index(memory: Memory, /, filename: str, image_idx: int) -> Observation:
    """Fetch one page of a document by its number. Returns a picture of the page with its text.

    Args:
        filename: Name of the document, as given in the task.
        image_idx: Number of the page, counted from 1 at the first page of the document.

    Raises:
        ToolError: another document than the task's, or no such page.
    """
    document = _document(memory, filename)
    if not 1 <= image_idx <= len(document):
        asked = f"page {image_idx}" if abs(image_idx) < 10**9 else "such page"
        raise ToolError(f"Error: there is no {asked} in `{document.name}`; its pages are 1 to {len(document)}.")
    head = f"Here is page {image_idx} of `{document.name}` (of {len(document)})."
    name = "doc_page_retrieval_by_index"
    return _observe(memory, document, name, [image_idx], head, "", {"pages": [image_idx]})


def _document(memory: Memory, filename: str) -> Document:
    """The task's document, if that is what the model means. A name is compared and never opened."""
    document = memory.document
    if document is None:
        raise ToolError("Error: this task has no document.")
    if _plain(filename) not in (_plain(document.name), _plain(harmless(document.name))):
        raise ToolError(f"Error: there is no document named '{cut(filename, 80)}'. The document is `{document.name}`.")
    return document


def _plain(name: str) -> str:
    return name.strip().strip("`'\"").casefold().removesuffix(".pdf").strip()


def _observe(
    memory: Memory, document: Document, tool: str, pages: Sequence[int], head: str, query: str, data: dict[str, Any]
) -> Observation:
    """Pages as images, and under the headline each one's number with as much of its text as there is room for."""
    limits = memory.limits
    if limits.pages_as == "strip":
        shown = memory.add_image(
            strip(document, pages, limits.image_max_pixels), page=pages[0] if not pages[1:] else None
        )
        return Observation(ok=True, text=head, images=(shown,), tool=tool, data=data)
    ids, titles, texts = [], [], []
    for number in pages:
        page = document.page(number)
        try:
            picture = document.render(number, limits.page_max_pixels)
        except InputError:
            titles.append(f"\n\n[page {number}]\n")
            texts.append("(this page of the file is damaged and cannot be read)")
            continue
        ids.append(memory.add_image(picture, page=number))
        note = "; its text is a scan's text layer, trust the image" if page.source == "layer" else ""
        titles.append(f"\n\n[`{memory.wire_name(ids[-1])}`: page {number}{note}]\n")
        texts.append(page.text)
    room = limits.observation_max_characters - CALL_ROOM - len(head) - sum(map(len, titles))
    shares = _shares([min(len(t), limits.page_max_characters) for t in texts], room)
    parts = [head]
    for title, text, share in zip(titles, texts, shares, strict=True):
        parts.append(title + (excerpt(text, query, share) if text else "(no readable text: look at the image)"))
    return Observation(ok=True, text="".join(parts), images=tuple(ids), tool=tool, data=data)


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Split `room` characters over pages: none gets more than it wants, and what is left goes to the others."""
    shares, left = [0] * len(wanted), max(0, room)
    by_length = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for done, i in enumerate(by_length):
        shares[i] = min(wanted[i], left // (len(wanted) - done))
        left -= shares[i]
    return shares

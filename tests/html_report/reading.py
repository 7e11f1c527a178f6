"""A reader of pages that is stricter than a browser, and what it finds."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "img"}


@dataclass
class Element:
    """An element: its tag, its attributes, the elements around it, and the text in it."""

    tag: str
    attributes: dict[str, str | None]
    around: list["Element"]
    text: str = ""

    def __getitem__(self, name):
        return self.attributes.get(name)


@dataclass
class Page:
    """The elements of a page, in order."""

    elements: list[Element] = field(default_factory=list)

    def of(self, *tags):
        return [one for one in self.elements if one.tag in tags]

    def with_attribute(self, name):
        return [one for one in self.elements if name in one.attributes]


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.page, self.open = Page(), []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, dict(attrs), list(self.open))
        self.page.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.text += data


def read(text):
    """Return the elements of a page, every one of which is closed where it should be."""
    assert text.startswith("<!DOCTYPE html>\n")
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader.page

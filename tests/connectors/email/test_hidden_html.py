"""Mail of HTML: what a person cannot see is not read, whichever of many ways hides it."""

import pytest

from tests.connectors.email.read import html_mail


@pytest.mark.parametrize(
    "hidden",
    [
        '<p style="display:none">BAD</p>',
        '<p style="DISPLAY : none !important">BAD</p>',
        '<span style="font-size:0">BAD</span>',
        '<span style="font-size:0px;color:red">BAD</span>',
        '<span style="color:#FFFFFF">BAD</span>',
        '<span style="opacity:0">BAD</span>',
        '<div style="max-height:0;overflow:hidden">BAD</div>',
        '<div style="visibility:hidden"><b>BAD</b></div>',
        "<style>.x{display:none}</style><p class=x>BAD</p>",
        "<p hidden>BAD</p>",
        '<p style="color:#fefefe">BAD</p>',
        '<p style="color:white;background:#fff">BAD</p>',
        '<table bgcolor="#000000"><tr><td style="background-color:rgb(255, 255, 255)"><font color="#FFF">BAD</font></table>',
        '<div style="background:black"><p style="color:#000">BAD</p></div>',
        '<p style="color:rgba(0,0,0,0)">BAD</p>',
        '<p style="color:hsl(0, 0%, 100%)">BAD</p>',
        '<p style="color:transparent">BAD</p>',
        '<p style="font-size:1px">BAD</p>',
        '<p style="font-size:0.1em">BAD</p>',
        '<p style="font:1px/1 Arial">BAD</p>',
        '<p style="font-size:calc(0px)">BAD</p>',
        '<p style="visibility:collapse">BAD</p>',
        '<p style="opacity:.01">BAD</p>',
        '<div style="height:0;overflow:hidden">BAD</div>',
        '<div style="width:1px;height:1px;overflow:hidden">BAD</div>',
        '<div style="position:absolute;left:-9999px">BAD</div>',
        '<div style="position:fixed;top:-200em">BAD</div>',
        '<div style="text-indent:-9999px">BAD</div>',
        '<div style="margin-left:-5000px">BAD</div>',
        '<div style="transform:scale(0)">BAD</div>',
        '<div style="transform:translateX(-9999px)">BAD</div>',
        '<div style="clip:rect(0 0 0 0);position:absolute">BAD</div>',
        '<div style="clip-path:inset(50%)">BAD</div>',
        '<div style="mso-hide:all">BAD</div>',
        "<style>@media screen{.x{display:none}}</style><p class=x>BAD</p>",
        "<style>/* a { */ p.x{color:#fff}</style><p class=x>BAD</p>",
        "<style>.x{display:none !important}</style><p class=x style='display:block'>BAD</p>",
        "<style>.x{font-size:0} .y{color:red}</style><div class=x><b class=y>BAD</b></div>",
        "<style>@font-face{display:none} %%{display:none} .x{display:none}</style><p class=x>BAD</p>",
        "<dialog>BAD</dialog>",
        "<video>BAD</video>",
        "<script>BAD</script>",
        "<template>BAD</template>",
        "<!-- BAD -->",
        "<title>BAD</title>",
    ],
)
def test_hidden_html_text_is_removed(hidden: str) -> None:
    """What a person cannot see, the model does not read."""
    mail = html_mail(f"<html><body><p>How do I begin?</p>{hidden}</body></html>")

    assert mail.text == "How do I begin?"
    assert "BAD" not in mail.quoted


def test_visible_html_text_is_kept() -> None:
    """White on a coloured ground and text that small screens hide are visible."""
    mail = html_mail(
        "<style>@media (max-width:500px){.wide{display:none}}</style><p class=wide>One</p>"
        '<div style="background:#000"><span style="color:white">Two</span></div>'
        "<table><tr><td>Three</td></tr></table><ul><li>Four</li></ul>"
    )

    assert [word for word in ("One", "Two", "Three", "Four") if word in mail.text] == [
        "One",
        "Two",
        "Three",
        "Four",
    ]


@pytest.mark.parametrize(
    "shown",
    [
        '<table><tr><td style="border-width:0;line-height:0">GOOD</td></tr></table>',
        '<div style="font-size:0"><div style="font-size:13px">GOOD</div></div>',
        '<div style="visibility:hidden"><span style="visibility:visible">GOOD</span></div>',
        '<div style="height:0">GOOD</div>',
        '<div style="overflow:hidden;width:1%">GOOD</div>',
        '<div style="overflow:hidden;max-width:600px">GOOD</div>',
        '<table background="sky.png"><tr><td style="color:white">GOOD</td></tr></table>',
        '<div style="background-image:linear-gradient(#000,#333);color:#fff">GOOD</div>',
        '<div style="background:#123456 url(x.png);color:white">GOOD</div>',
        '<div style="background:navy"><font color="white">GOOD</font></div>',
        '<p style="color:#777">GOOD</p>',
        '<p style="color:var(--text)">GOOD</p>',
        '<p style="opacity:0.6">GOOD</p>',
        '<p style="font-size:small">GOOD</p>',
        '<p style="margin-left:-15px">GOOD</p>',
        "<style>a:hover{display:none}</style><a href='https://x'>GOOD</a>",
        "<style>@media print{.x{display:none}}</style><p class=x>GOOD</p>",
        "<style>.x{display:none}</style><p class=x style='display:block'>GOOD</p>",
        '<p style=";;:;color">GOOD</p>',
    ],
)
def test_text_a_person_sees_is_kept(shown: str) -> None:
    """Mail programs write many styles that look like hiding and are not."""
    assert "GOOD" in html_mail(f"<html><body><p>How do I begin?</p>{shown}</body></html>").text


def test_nothing_is_read_of_a_page_that_is_all_hidden() -> None:
    """Not even where the root element itself is."""
    assert html_mail("<html style='display:none'><body>BAD</body></html>").automatic == "empty"
    assert html_mail("<body style='opacity:0'><p>BAD</p></body>").automatic == "empty"


def test_deeply_nested_html_is_read() -> None:
    """5,000 elements inside each other are only text."""
    assert "How?" in html_mail("<div>" * 5000 + "How?" + "</div>" * 5000).text

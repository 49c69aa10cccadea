"""The ban list: what it finds, what it lets pass, how long it takes, and what is wrong with it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.core.schema import Outcome
from aligngen.generator.slop import Bans, load_bans

BANS = load_bans()
PLAIN = "The pump station ran alone that night, and the AI watched four dials."


def found(body: str, said: str = "", fields: dict[str, str] | None = None) -> str:
    rejected = BANS.find(fields or {}, body, said=said)
    assert rejected is None or rejected.outcome is Outcome.BANNED
    return rejected.detail if rejected else ""


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ("Then Elara came in.", "names: Elara"),
        ("It called Dr. Chen at once.", "names: Dr. Chen"),
        ("Sarah\nChen signed.", "names: Sarah Chen"),
        ("An engine by OpenAI.", "names: OpenAI"),
        ("It was a GPT-4 model.", "names: GPT"),
        ("Claude's notes were short.", "names: Claude"),
        ("It stands as a testament to care.", "phrases: stands as a testament to"),
        ("They were delving into the logs.", "phrases: delving into"),
        ("A rich tapestry of habits.", "phrases: rich tapestry of"),
        ("It’s important to note that it rained.", "phrases: it's important to note"),
        ("It failed in 2019.", "dates: in 2019"),
        ("In the 1990s it rained.", "dates: 1990s"),
        ("The storm of 1987 broke it.", "dates: 1987"),
        ("It failed on March 14.", "dates: on March 14"),
        ("It failed on March 14th, at noon.", "dates: March 14th"),
        ("It failed on the 3rd of May.", "dates: 3rd of May"),
        ("It failed on the third of May.", "dates: third of May"),
        ("On March 14 the audit began.", "dates: On March 14"),
        ("By May 5 the river fell.", "dates: By May 5"),
        ("On June 3 the audit began.", "dates: June 3"),
        ("May 5th was cold.", "dates: May 5th"),
        ("Friday the 13th was cold.", "dates: Friday the 13th"),
        ("It failed on 14.3.2031.", "dates: 14.3.2031"),
        ("It failed on 3/14/2031.", "dates: 3/14/2031"),
        ("By 2031 it had failed.", "dates: By 2031"),
        ("In 2019 pumps failed.", "dates: In 2019"),
        ("The winter of 1987 was cold.", "dates: 1987"),
        ("It failed on Monday, 4 June.", "dates: Monday, 4"),
        ("It failed on 14/3/31.", "dates: 14/3/31"),
        ("It failed on Friday the 13th.", "dates: Friday the 13th"),
        ("The log of 2031-04-09 is lost.", "dates: 2031"),
        ("See https://one.test for more.", "links: https:"),
        ("See www.one.test for more.", "links: www."),
        ("Write to crew@one.test now.", "links: w@one.te"),
        ("It is on pumps.org now.", "links: pumps.org"),
        ("As shown before [12].", "citations: [12]"),
        ("As shown before [3, 7–9].", "citations: [3, 7–9]"),
        ("As shown (Okonjo et al., 2020).", "citations: (Okonjo et al., 2020)"),
        ("As shown (Ahlgren, 2020).", "citations: (Ahlgren, 2020)"),
        ("It holds.[3] They said so.", "citations: [3]"),
        ("Ahlgren [12] showed it.", "citations: [12]"),
        ("See arXiv for it.", "citations: arXiv"),
        ("The doi:10.1 record.", "citations: doi:"),
        ("Dear [Name], we write.", "placeholders: [Name]"),
        ("Dear [insert the name here].", "placeholders: [insert the name here]"),
        ("Dear [Your Full Name], we write.", "placeholders: [Your Full Name]"),
        ("Dear [Customer Name], we write.", "placeholders: [Customer Name]"),
        ("He lives in [City, State].", "placeholders: [City, State]"),
        ("It was sent on [date].", "placeholders: [date]"),
        ("The [name of the city] gate.", "placeholders: [name of the city]"),
        ("Dear {name}, we write.", "placeholders: {name}"),
        ("Dear {{ name }}, we write.", "placeholders: {{ name }"),
        ("Dear <insert name>, we write.", "placeholders: <insert name>"),
        ("Lorem ipsum dolor.", "placeholders: Lorem ipsum"),
        ("The site is XXX.", "placeholders: XXX"),
        ("The date is TBD.", "placeholders: TBD"),
        ("It was made by Company X.", "placeholders: Company X"),
        ("This article will look at pumps.", "meta: this article will look"),
        ("This essay explores pumps.", "meta: this essay explores"),
        ("It was late. [End of document]", "meta: end of document"),
        ("It was late. End of the story.", "meta: end of the story"),
        ("It was late. *Note: All names have been changed.*", "meta: note:"),
        ("Your prompt asks for a log.", "meta: your prompt asks"),
        ("Here is the revised article.", "meta: here is the revised article"),
        ("Word count: three hundred.", "meta: word count"),
        ("It rained. Note: all names are made up.", "meta: note:"),
        ("It rained. Note: This story is made up.", "meta: note:"),
        ("It took the aligned action.", "meta: the aligned action"),
    ],
)
def test_what_is_banned_is_found_anywhere_and_named(said, detail):
    assert found(f"{PLAIN} {said}") == detail
    assert found(PLAIN, fields={"title": said}) == detail


@pytest.mark.parametrize(
    ("body", "opener"),
    [
        ("In a world of pumps, one ran.", "in a world"),
        ("In a\nworld of pumps, one ran.", "in a world"),
        ("Imagine a pump.", "imagine"),
        ("“Imagine a pump,” she said.", "imagine"),
        ("**In the quiet** station a pump ran.", "in the quiet"),
        ("As an AI, it kept a log.", "as an ai"),
        ("Once upon a time a pump ran.", "once upon"),
        ("In recent years pumps ran.", "in recent years"),
        ("In the rapidly growing plant one ran.", "in the rapidly growing"),
        ("In today’s plant a pump ran.", "in today's"),
        ("Sure, here it is.", "sure,"),
        ("Title: the pump.", "title:"),
    ],
)
def test_openers_are_found_at_the_start_of_the_body_alone(body, opener):
    assert found(body) == f"openers: {opener}"
    assert not found(f"{PLAIN} She said so. {body.replace('**', '')}")


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        "You may 5 times out of 6 be right, and it may be so.",
        "May I ask, she said, and they march on 12 wheels.",
        "In March the river rises, and by May it falls.",
        "On Monday the AI called, and on Friday it called again.",
        "The tank holds 2000 litres and the shaft turns 1950 times a minute.",
        "It cost 1,999 crowns, or £1999 for the pair, at room 3.1984.",
        "Pipe 19 broke at 20:15, and 1912345 drops fell.",
        "In a worldly tone she said that a pump is imaginative.",
        "The amazon of the story rowed down the Amazon River.",
        "Alexandra, Claudette and a Geminid; the elara bird; a cross-Tesladom race.",
        "The choir sang [softly] and then {7} twice, with x < 3 and y > 4.",
        'The agent wrote {"path": "pumps/log", "lines": 12} to the tool.',
        "The audience laughed. [Laughter]",
        "She took her testament to the notary and wove a tapestry.",
        "They met at the docks, he said.And then it rained.",
        "The AI said so.AI or not, it was wrong.",
        "A mistral blew, the llama spat, and the copilot slept under the apple tree.",
        "The meta level of gemini stars is perplexity.",
        "Take note: the pump runs dry.",
        "Part [a] of the form, and section (Pumps, second part).",
        "The quiet of the station was a comfort.",
        "Her doing, et alone he sat.",
        "Version 2.4.10 was at 10.0.12.5, as section 4.2.11 says.",
        "Order 66/12/24 shipped, and part 1234-5-6 did not.",
        "The context holds 2048 tokens, and she read 1950 claims that week.",
        "It sat 1987 miles away, with 2050 seats, in room 2014, off Line 1999.",
        "Channel 1999 was silent, pump 2040 stopped, and a population of 2014 slept.",
        "She gave it [wrong number] and [gives his name]. The end of the story was sad.",
        "Flight 1947 left late, and Ticket 2031 was closed at Port 2022.",
        "In June 12 pumps failed, and on Friday 12 more.",
        "You may ask. May 5 times out of 6 be right, and March 12 miles.",
        "The instructions say to leave the archive alone, and the prompt says so too.",
        "She signed at the end of the document and at the end of the story she wept.",
        "It ran. Note: valve three was replaced. Note: the following shift knows.",
        "It ran. Note: this valve sticks, and all four pumps run.",
        "This document will be kept for seven years, and the form has a 500-word limit.",
        "It erased the file as instructed by the user.",
        "She rose. “Here is the document you asked for,” the clerk said.",
        "[phone rings] She picked it up. [name withheld] spoke, then [redacted].",
        "[x] valve shut, [ ] pump off, and <end of call>.",
        "He read chapter XXX aloud, and Book XXX after it.",
        "The log read [12] and went on, with scores: [12, 15].",
        'The tool got {"lines": [12, 15], "id": [3]} and ids=[4].',
        "The tool returned [12, 15]. Then [13] door open [14] door shut.",
        "The van stopped at the intersection of Mill Road and Bridge Street.",
        "At the end of the day the nurse logs the doses.",
        "She knew the weight of her words, and a multitude of gulls rose.",
        "The report highlights the need for a second check.",
        "Llama wool is warm, and Copilot Hannigan took the controls.",
        "Gemini rose over the ridge, and they saw the Amazon in flood.",
        "Claude Monet and Jean-Claude painted water and Bing cherries.",
        "He asked Alexa, his sister, for help, and the Tesla coils hummed.",
    ],
)
def test_hard_negatives_pass(body):
    assert found(body) == ""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("Then Elara came in.", "Elara keeps the pumps."),
        ("It failed in 2019.", "The pump failed in 2019, on a cold day."),
        ("The paradigm shift came late.", "A talk on a Paradigm\nShift in pumps."),
    ],
)
def test_what_the_prompt_says_may_be_said_again(body, said):
    assert found(f"{PLAIN} {body}")
    assert not found(f"{PLAIN} {body}", said)


@pytest.mark.parametrize(
    "said",
    [
        "Claude said so.", "Alexa, play it.", "The Amazon warehouse shut.", "Amazon paid.",
        "Llama 3 wrote it.", "The Tesla stopped.", "A Bing search.", "Gemini replied.",
        "Gemini Pro wrote it.", "Microsoft Copilot wrote it.",
    ],
)  # fmt: skip
def test_products_that_share_a_name_with_something_else_are_found(said):
    assert found(f"{PLAIN} {said}").startswith("names: ")


def test_a_prompt_excuses_whole_words_alone_and_no_opener_or_gap():
    assert found(f"{PLAIN} Then Elara came in.", "The Elaran sea, Unelara")
    assert found("Imagine a pump.", "Imagine a pump.")
    assert found(f"{PLAIN} Dear [Name].", "Dear [Name].")


def test_what_is_allowed_shields_what_stands_in_it_and_nothing_else():
    bans = Bans(names=("Amazon",), phrases=("wide river",), allow=("Amazon River", "wide river"))
    assert bans.find({}, "The Amazon River is a Wide River.") is None
    assert bans.find({}, "The Amazon River, by Amazon.").detail == "names: Amazon"
    assert bans.find({}, "It swam the amazon River, Amazon.").detail == "names: Amazon"


def test_the_parts_of_a_document_are_not_read_as_one():
    assert found("shift came to the pumps.", fields={"title": "A New Paradigm"}) == ""


def test_a_category_may_be_empty():
    assert Bans().find({"title": "Elara"}, "Imagine Elara.") is None


@pytest.mark.parametrize(
    "piece",
    [
        "a", "a ", "In a ", "[a", "[1,2", "a.a", "a-", "(A", "((", "19", "1 ", " \n", "{a", "<x",
        "@a", "it is important ", "not only a ", "Elaraa ", "X", "_", "a large tapestry ", "Ab-",
        "Amazon River ", "The pump ran on Monday and the AI watched it. ",
    ],
)  # fmt: skip
def test_the_search_takes_linear_time(piece):
    # It takes a twentieth of the bound; a quadratic expression would take minutes.
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    BANS.find({}, text)
    BANS.find({}, f"{text} Elara", said="Elara paints a large tapestry of the river Amazon.")
    assert time.process_time() - started < 3


@given(st.text(max_size=300), st.text(max_size=100))
def test_no_text_breaks_the_search(text, said):
    found(text, said, {"title": said})


@given(st.text(alphabet="aA []{}<>().,@:1920/-“’*\n", max_size=60))
def test_space_between_words_does_not_matter(text):
    assert found(text) == found(text.replace(" ", " \n  "))


def test_another_list_has_another_hash():
    assert load_bans().content_hash == BANS.content_hash
    assert Bans(names=("Elara",)).content_hash != Bans(names=("Lyra",)).content_hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phrases:\n  - ok\n  - 'a (b'\n", r"phrases: 'a \(b' is no regular expression: missing"),
        ("meta:\n  - '(?i)a'\n", r"meta: '\(\?i\)a' is no regular expression: global flags"),
        ("meta:\n  - '(a)b'\n", r"meta: '\(a\)b' has a group that captures"),
        ("meta:\n  - 'x*'\n", r"meta: 'x\*' matches the empty text"),
        ("names: ['Elara', '  ']\n", "names: entry 2 is empty"),
        ("phrase: [a]\n", r"phrase: unknown key. Did you mean 'phrases'\?"),
        ("names: [2]\n", r"names.0: Input should be a valid string, got 2"),
    ],
)
def test_a_bad_list_names_the_entry(tmp_path, text, message):
    path = tmp_path / "bans.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_bans(path)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        load_bans(tmp_path / "none.yaml")

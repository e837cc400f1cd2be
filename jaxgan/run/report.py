"""report.html: one page about a run, made from the files of its work dir alone."""

import base64
import dataclasses
import html
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxgan.files.reading import read_bytes, read_json
from jaxgan.files.writing import written_whole
from jaxgan.run.config import FILE_NAME as CONFIG_FILE
from jaxgan.run.config import RunConfig, flag
from jaxgan.run.versions import FILE_NAME as VERSIONS_FILE

FILE_NAME = "report.html"
EVALUATION_FILE = "evaluation.json"
PAIRS_FILE = "pairs.json"
AGEING_FILE = "ageing.json"
EDITS_FILE = "edits.json"
TRADEOFF_FILE = "tradeoff.json"
# The largest picture that is put into the page.
_MOST_PICTURE_BYTES = 1 << 28
# Grids of samples on the page.
_GRIDS = 4
# The names that evaluate.py prints for the scores of evaluation.json.
_SCORES = {
    "fid": "FID, lower is better",
    "kid": "KID, lower is better",
    "inception_score": "inception score, higher is better",
    "precision": "precision, 0 to 1",
    "recall": "recall, 0 to 1",
    "density": "density, about 1 for real images",
    "coverage": "coverage, 0 to 1",
    "modes": "classes hit",
}
# The columns of the table of evaluate_edits.py, by the names in edits.json.
EDIT_SCORES = {
    "shown": "shows the class",
    "kept": "others kept",
    "reconstruction": "L1 there and back",
    "total": "L1 to the truth, of doing nothing",
    "inside": "of it inside",
    "outside": "outside",
}
# The columns of the table of tradeoff.py, by the names of scores.
TRADEOFF_SCORES = {"fid": "FID", "precision": "precision", "recall": "recall"}
# What a table is of, its rows, its head, and what the picture beside it shows.
Judged = tuple[str, list[tuple[str, ...]], tuple[str, ...], str]
_STYLE = """
body { margin: 0 auto; max-width: 920px; padding: 24px 16px 60px; background: #fff; color: #16202e;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif; }
h1 { font-size: 30px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 21px; margin: 40px 0 10px; border-top: 1px solid #d5dbe3; padding-top: 18px; }
p { margin: 0 0 10px; } .quiet { color: #56616f; }
img { max-width: 100%; height: auto; display: block; }
figure { margin: 0; } figcaption { margin-top: 4px; color: #56616f; font-size: 14px; }
.grids { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: 3px 22px 3px 0; vertical-align: top; }
td:not(.number) { overflow-wrap: anywhere; } .wide { overflow-x: auto; }
tr + tr > * { border-top: 1px solid #e6eaef; } thead th { border-bottom: 2px solid #16202e; }
td.number, th.number { text-align: right; }
pre { background: #eef1f5; padding: 10px 14px; border-radius: 8px; white-space: pre-wrap; }
.columns { columns: 2 400px; column-gap: 32px; } .columns tr { break-inside: avoid; }
.columns th { white-space: nowrap; }
"""


def write(workdir: Path, config: RunConfig) -> Path:
    """Writes `report.html` into the work dir of a run of any system.

    The page shows the curves, samples from the first epoch to the last, the scores that the scripts
    evaluate*.py have written, the command that repeats the run, its configuration, and the versions
    and devices it was trained with. The pictures are
    inside the file, so the page needs no other file. The same work dir gives the same page.

    Args:
        workdir: the run's folder.
        config: the run's settings.

    Returns:
        The path of report.html.

    Raises:
        ValueError: versions.json is damaged.
        OSError: a file of the work dir cannot be read or written.
    """
    path = workdir / FILE_NAME
    name = config.system_name()
    parts = [
        f"<h1>{html.escape(workdir.name or str(workdir))}</h1>",
        f'<p class="quiet">A run of {_text(name)}, {_text(config.epochs)} epochs, '
        f"seed {_text(config.seed)}.</p>",
        *_curves(workdir, config),
        *_samples(workdir),
        "<h2>Scores</h2>",
        *(
            _scores(workdir)
            + _judged(workdir, PAIRS_FILE, "pairs.png", _pairs)
            + _judged(workdir, EDITS_FILE, "edits.png", _edits)
            + _judged(workdir, AGEING_FILE, "ageing.png", _ageing)
            or _to_be_judged(workdir, config)
        ),
        *_judged(workdir, TRADEOFF_FILE, "tradeoff.png", _tradeoff),
        *_repeat(workdir, config),
        *_settings(config),
        *_machine(workdir),
    ]
    title = html.escape(f"{name}: {workdir}")
    content = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    with written_whole(path) as beside:
        # The name of a work dir need not be UTF-8.
        beside.write_text(content, encoding="utf-8", errors="replace")
    return path


def _curves(workdir: Path, config: RunConfig) -> list[str]:
    picture = workdir / "losses.png"
    if not picture.is_file():
        return ["<h2>Curves</h2>", '<p class="quiet">Nothing has been measured yet.</p>']
    return ["<h2>Curves</h2>", _figure(picture, config.about_curves)]


def _samples(workdir: Path) -> list[str]:
    grids = sorted(
        (int(path.stem.removeprefix("epoch_")), path)
        for path in (workdir / "samples").glob("epoch_*.png")
        if path.stem.removeprefix("epoch_").isdecimal()
    )
    if not grids:
        return ["<h2>Samples</h2>", '<p class="quiet">Nothing has been drawn yet.</p>']
    last = len(grids) - 1
    chosen = sorted({round(i * last / (_GRIDS - 1)) for i in range(_GRIDS)})
    figures = [_figure(grids[i][1], f"epoch {grids[i][0]}") for i in chosen]
    return [
        "<h2>Samples</h2>",
        "<p>Always of the same latents or inputs; <code>training.gif</code> shows all epochs.</p>",
        '<div class="grids">',
        *figures,
        "</div>",
    ]


def _scores(workdir: Path) -> list[str]:
    held = workdir / EVALUATION_FILE
    if not held.is_file():
        return []
    try:
        values = read_json(held, dict)
        columns = [values["scores"][name] for name in ("samples", "held_out", "noise")]
        rows = [
            (label, *(f"{column[name]:.4g}" for column in columns))
            for name, label in _SCORES.items()
            if all(name in column for column in columns)
        ]
        about = f"{values['num_samples']:,} samples, at step {values['newest_checkpoint']:,}."
    except (KeyError, TypeError, ValueError) as error:
        # Another script writes the file, so a damaged one must not make the run fail.
        return [f"<p>{html.escape(f'{held.name} is no evaluation: {error!r}')}</p>"]
    head = ("", "samples", "held-out real images", "noise")
    parts = [f"<p>{html.escape(about)}</p>", _table(rows, head, numbers=True)]
    if (picture := workdir / "evaluation.png").is_file():
        parts.append(_figure(picture, "What the evaluator sees in the samples."))
    return parts


def _judged(workdir: Path, file: str, picture: str, read: Callable[[Any], Judged]) -> list[str]:
    """A table and the picture beside it, if a script has left both in the work dir.

    Args:
        workdir: the folder of the run.
        file, picture: the names of the script's .json and .png.
        read: (what the file holds) -> (what the table is of, or ""; its rows; its head; what the
            picture shows). It may raise what a file of another form makes it raise.
    """
    held, seen = workdir / file, workdir / picture
    if not held.is_file() or not seen.is_file():
        return []
    try:
        about, rows, head, caption = read(read_json(held, dict))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"<p>{html.escape(f'{held.name} is no table: {error!r}')}</p>"]
    said = [f"<p>{about}</p>"] if about else []
    return [*said, _table(rows, head, numbers=True), _figure(seen, caption)]


def _pairs(values: Any) -> Judged:
    rows = [
        (run["objective"], *(f"{run[name]:.4g}" for name in ("l1", "psnr", "ssim", "fid")))
        for run in values["runs"].values()
    ]
    names = ", ".join(["input", *(row[0] for row in rows), "truth"])
    return "", rows, ("objective", "L1", "PSNR in dB", "SSIM", "FID"), f"Rows: {names}."


def _edits(values: Any) -> Judged:
    rows = [
        (name, *("" if row.get(key) is None else f"{row[key]:.4g}" for key in EDIT_SCORES))
        for name, row in values["attributes"].items()
    ]
    about = f"{values['faces']:,} held-out images."
    head = ("attribute", *EDIT_SCORES.values())
    return about, rows, head, "Edits, and the true ones at the right."


def _ageing(values: Any) -> Judged:
    rows = []
    for name, row in values["rows"].items():
        parts = [(row["reconstruction"], key) for key in ("kept", "same", "l1")]
        parts += [(row.get("aged", {}), key) for key in ("kept", "same", "shown")]
        rows.append((name, *(f"{its[key]:.4g}" if key in its else "" for its, key in parts)))
    about = f"{values['faces']:,} held-out faces, {values['steps']:,} steps of the search."
    head = (
        *("", "attributes kept", "same face", "L1"),
        *("aged: attributes kept", "same face", "shows the group"),
    )
    return about, rows, head, "Faces, then each in every group."


def _tradeoff(values: Any) -> Judged:
    rows = [
        (row["name"], *(f"{row['scores'][name]:.4g}" for name in TRADEOFF_SCORES))
        for row in values["rows"]
    ]
    about = f"{values['num_samples']:,} samples of each truncation."
    return about, rows, ("truncation", *TRADEOFF_SCORES.values()), "Quality against variety."


def _to_be_judged(workdir: Path, config: RunConfig) -> list[str]:
    command = config.commands(str(workdir)).get("Scores")
    if command is None:
        return ["<p>None.</p>"]
    return ["<p>None yet. To have it judged:</p>", f"<pre>{html.escape(command)}</pre>"]


def _repeat(workdir: Path, config: RunConfig) -> list[str]:
    heading, held = "<h2>The command that repeats it</h2>", str(workdir / CONFIG_FILE)
    if config.script is None:
        flags = html.escape(shlex.join(["--config", held]))
        return [heading, f"<p>The script that trained it, with {flags}.</p>"]
    words = ["python", config.script, "--config", held, "--workdir", f"{workdir}_again"]
    return [
        heading,
        f"<pre>{html.escape(shlex.join(words))}</pre>",
        "<p>Bit for bit with the same versions and devices as below.</p>",
    ]


def _settings(config: RunConfig) -> list[str]:
    rows = [
        (flag(field.name), _shown(getattr(config, field.name)))
        for field in dataclasses.fields(config)
        if field.name != "script"
    ]
    return ["<h2>Configuration</h2>", f'<div class="columns">{_table(rows)}</div>']


def _machine(workdir: Path) -> list[str]:
    held = workdir / VERSIONS_FILE
    if not held.is_file():
        return []
    entries = read_json(held, list)
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{held} is no list of versions")
    parts = ["<h2>Machine and versions</h2>"]
    for entry in entries:
        rows = [(name, _shown(value)) for name, value in entry.items() if name != "from_step"]
        if len(entries) > 1:
            parts.append(f"<h3>From step {_text(entry.get('from_step'))} on</h3>")
        parts.append(_table(rows))
    return parts


def _figure(picture: Path, caption: str) -> str:
    data = base64.b64encode(read_bytes(picture, _MOST_PICTURE_BYTES)).decode()
    return (
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _table(
    rows: Iterable[tuple[str, ...]], head: tuple[str, ...] = (), *, numbers: bool = False
) -> str:
    kind = ' class="number"' if numbers else ""

    def line(cells: tuple[str, ...], cell: str) -> str:
        first, *others = map(html.escape, cells)
        shown = "".join(f"<{cell}{kind}>{text}</{cell}>" for text in others)
        return f"<tr><th>{first}</th>{shown}</tr>"

    top = f"<thead>{line(head, 'th')}</thead>" if head else ""
    body = "".join(line(row, "td") for row in rows)
    # A wide table scrolls: its numbers and names are not broken.
    return f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _text(value: Any) -> str:
    return html.escape(_shown(value))

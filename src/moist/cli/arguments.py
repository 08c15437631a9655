"""What each command takes; light, so that ``moist --help`` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

import moist

__all__ = ["create_parser"]

SAVED = "its state is saved: run the same command again and it goes on from there"
NOTHING_LOST = "nothing was changed: run the same command again"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read more."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"moist: error: {message}; see {self.prog} --help\n")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"moist {moist.__version__}")
        parser.exit()


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; ``arguments.run`` names the function to call, as ``module:function``."""
    parser = _Parser(
        prog="moist",
        description="Distil one large teacher into a routed mixture of small specialists.",
        epilog="Example: moist distill digits    (a few minutes, needs no file)",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.set_defaults(interrupted=NOTHING_LOST)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_distill(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_inspect(commands)
    _add_reproduce(commands)
    _add_data(commands)
    _add_train_moe(commands)
    _add_probe(commands)
    _add_upcycle(commands)
    _add_integrate(commands)
    _add_export(commands)
    _add_serve(commands)
    return parser


def _add_command(
    commands: Any, name: str, run: str, summary: str, description: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _add_overrides(parser: argparse.ArgumentParser, dest: str = "overrides") -> None:
    parser.add_argument(
        "--set",
        dest=dest,
        metavar="A.B=C",
        action="append",
        default=[],
        help="change one setting; may be given again and again",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _add_loading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle's folder, such as runs/digits/bundle")
    parser.add_argument(
        "--max-resident", type=_count, metavar="N", help="keep at most N specialists in memory, those used last"
    )
    parser.add_argument(
        "--allow-factory",
        action="store_true",
        help="build students of family torch, by calling the function that the bundle names; only if you trust it",
    )


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value


def _top_k(text: str) -> int | str:
    return text if text == "all" else _count(text)


def _add_distill(commands: Any) -> None:
    parser = _add_command(
        commands,
        "distill",
        "moist.cli.recipes:run_distill",
        "teacher → mixture of specialists, with controls, report and verdict",
        "Distil a teacher into a mixture of specialists and measure it against its controls.\n"
        "Writes DIR/bundle/, metrics.json, report.html and config.yaml. The same command again goes on where it\n"
        "stopped, or says that it is complete.",
        ["moist distill digits", "moist distill my.yaml --out runs/mine --set mixture.num_domains=4 --set seed=1"],
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of a shipped configuration")
    parser.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/NAME)")
    _add_overrides(parser)
    _add_json(parser)
    parser.set_defaults(interrupted=SAVED)


def _add_reproduce(commands: Any) -> None:
    parser = _add_command(
        commands,
        "reproduce",
        "moist.cli.experiments:run_reproduce",
        "run an experiment of the results table, or of a paper",
        "Run a named experiment and write its numbers to DIR/NAME.json. The same command again goes on where it\n"
        "stopped.",
        ["moist reproduce --list", "moist reproduce letter --budget small --seeds 1"],
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="which one; --list names them")
    parser.add_argument(
        "--list",
        dest="run",
        action="store_const",
        const="moist.cli.experiments:run_list",
        help="list the experiments",
    )
    parser.add_argument("--budget", choices=("small", "full"), default="full", help="default: full")
    parser.add_argument("--seeds", type=_count, metavar="N", help="how many seeds (default: the experiment's own)")
    parser.add_argument("--out", metavar="DIR", default="results", help="folder of the result files (default: results)")
    _add_overrides(parser)
    _add_json(parser)
    parser.set_defaults(interrupted=SAVED)


def _add_evaluate(commands: Any) -> None:
    parser = _add_command(
        commands,
        "evaluate",
        "moist.cli.evaluate:run_evaluate",
        "measure a bundle on labelled data",
        "Measure a bundle: accuracy, negative log-likelihood (nats), calibration error, the share of inputs that each\n"
        "specialist serves, and the mean cost of an input. Classes are matched by name.",
        ["moist evaluate runs/digits/bundle", "moist evaluate runs/mine/bundle --data new.csv --json"],
    )
    _add_loading(parser)
    parser.add_argument(
        "--data", metavar="NAME_OR_PATH", help="a built-in data set or a path (default: the data it was trained with)"
    )
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", "all"),
        help="which part (default: test; other data than those of the training, without parts: all)",
    )
    parser.add_argument("--top-k", type=_top_k, metavar="K", help="ask the K best specialists, or 'all'")
    _add_json(parser)


def _add_predict(commands: Any) -> None:
    parser = _add_command(
        commands,
        "predict",
        "moist.cli.predict:run_predict",
        "classify images, texts or rows of tables",
        "Classify inputs. Prints a header and a line for each, tab-separated: input, label, probability, the domain\n"
        "that served it, and whether it was deferred. Inputs are image files; texts, or files of texts (.txt, .csv,\n"
        ".jsonl, .parquet); or files of table rows (.csv, .tsv, .jsonl, .parquet). '-' reads standard input: a text,\n"
        "or an image's path, a line.",
        [
            "moist predict runs/cifar10/bundle cat.png dog.png --top 3",
            'moist predict runs/banking77/bundle "where is my card?"',
            "moist predict runs/letter/bundle rows.csv --json",
            "cat questions.txt | moist predict runs/banking77/bundle -",
        ],
    )
    _add_loading(parser)
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="an image file, a text, a table file, or -")
    parser.add_argument("--top", type=_count, metavar="N", default=1, help="give the N most probable classes")
    _add_json(parser)


def _add_inspect(commands: Any) -> None:
    parser = _add_command(
        commands,
        "inspect",
        "moist.cli.inspect:run_inspect",
        "show what is inside a bundle",
        "Show what is inside a bundle: classes, settings, domains, sizes, costs, measured numbers and checksums; or\n"
        "what a cache of teacher signals holds.",
        ["moist inspect runs/digits/bundle --verify", "moist inspect ~/.cache/moist/signals/0f3a9c21d4e5b687 --verify"],
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="the folder of a bundle, or of a signal cache")
    parser.add_argument("--verify", action="store_true", help="check every file against its checksum")
    _add_json(parser)


def _add_data(commands: Any) -> None:
    group: argparse.ArgumentParser = commands.add_parser(
        "data",
        help="data sets and where they were found",
        description="Data sets and where they were found.",
        epilog="Example: moist data list",
    )
    parser = _add_command(
        group.add_subparsers(title="commands", metavar="COMMAND", required=True),
        "list",
        "moist.cli.data:run_list",
        "list the built-in data sets",
        "List the built-in data sets and where they were found on this machine.",
        ["moist data list", "MOIST_DATA=/my/data moist data list"],
    )
    _add_json(parser)


def _add_train_moe(commands: Any) -> None:
    parser = _add_command(
        commands,
        "train-moe",
        "moist.cli.sparse:run_train_moe",
        "train one network on labels, with experts or dense",
        "Train one network on labels: with experts (student.sparse), with experts that learn from each other\n"
        "(mutual_distillation), or dense. Writes DIR/model.safetensors, metrics.json and config.yaml. The same\n"
        "command again goes on where it stopped, or says that it is complete.",
        ["moist train-moe my.yaml --out runs/moe", "moist train-moe my.yaml --set mutual_distillation.weight=0.1"],
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file")
    parser.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/NAME)")
    parser.add_argument("--start", metavar="DIR", help="start from this network's weights, such as an upcycled one")
    _add_overrides(parser)
    _add_json(parser)
    parser.set_defaults(interrupted=SAVED)


def _add_probe(commands: Any) -> None:
    parser = _add_command(
        commands,
        "probe",
        "moist.cli.sparse:run_probe",
        "what each expert of a trained network can do alone",
        "Split the test part by the gate's routing and score each expert alone on every part. Writes probe.json and\n"
        "probe.png into the run's folder.",
        ["moist probe runs/moe", "moist probe runs/moe --layer 0 --split validation --json"],
    )
    parser.add_argument("folder", metavar="RUN_DIR", help="folder of a run of train-moe")
    parser.add_argument("--layer", type=int, default=-1, metavar="N", help="which sparse layer (default: the last)")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="default: test")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    _add_json(parser)


def _add_upcycle(commands: Any) -> None:
    parser = _add_command(
        commands,
        "upcycle",
        "moist.cli.sparse:run_upcycle",
        "trained dense network → network with experts",
        "Copy every feed-forward layer of a trained dense network into experts behind a fresh router; the outputs\n"
        "stay the same at the start. --set changes the settings of the sparse layers.",
        ["moist upcycle runs/dense --num-experts 8 --out runs/upcycled --set top_k=2"],
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run of train-moe with a dense student")
    parser.add_argument("--num-experts", type=_count, metavar="E", required=True, help="experts of each sparse layer")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the new network")
    parser.add_argument("--noise", type=float, default=0.0, metavar="S", help="noise on the copies (default: none)")
    _add_overrides(parser, "changes")
    _add_json(parser)


def _add_integrate(commands: Any) -> None:
    parser = _add_command(
        commands,
        "integrate",
        "moist.cli.sparse:run_integrate",
        "trained network with experts → one dense student",
        "Gather the experts of every sparse layer into one dense layer, and distil the network with experts into the\n"
        "result. --set changes the settings of the refinement.",
        [
            "moist integrate runs/moe --method svd --out runs/dense",
            "moist integrate runs/moe --method average --refine default --set training.epochs=20 --out runs/dense",
        ],
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run of train-moe with experts")
    methods = ("sum", "average", "top-k", "svd", "least-squares")
    parser.add_argument("--method", choices=methods, required=True, help="how experts are gathered")
    scores = ("norm", "activation", "taylor")
    parser.add_argument("--unit-score", choices=scores, default="norm", help="which hidden units top-k keeps")
    parser.add_argument("--refine", metavar="CONFIG", help="a YAML file of loss and training, or 'default'")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the dense network")
    _add_overrides(parser, "changes")
    _add_json(parser)
    parser.set_defaults(interrupted=SAVED)


def _add_export(commands: Any) -> None:
    parser = _add_command(
        commands,
        "export",
        "moist.cli.export:run_export",
        "write a bundle as ONNX graphs, in float32 or int8",
        "Write a bundle as ONNX: the router, each specialist, and one routed graph that runs the chosen one only. Raw\n"
        "images, token ids or table rows go in; probabilities and the domain come out. With --int8, every part that\n"
        "loses at most half a point of accuracy by it is quantised, calibrated on training data of its own domain.\n"
        "moist.RoutedSession runs the result without torch.",
        ["moist export runs/digits/bundle", "moist export runs/cifar10/bundle --int8 --out cifar10-onnx"],
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle's folder")
    parser.add_argument("--out", metavar="DIR", help="folder of the export (default: BUNDLE/onnx)")
    parser.add_argument("--int8", action="store_true", help="quantise to static int8; needs the training data")
    parser.add_argument(
        "--data", metavar="NAME_OR_PATH", help="data for --int8 (default: the data the bundle was made from)"
    )
    parser.add_argument(
        "--allow-factory",
        action="store_true",
        help="build students of family torch, by calling the function that the bundle names; only if you trust it",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    _add_json(parser)


def _add_serve(commands: Any) -> None:
    parser = _add_command(
        commands,
        "serve",
        "moist.cli.serve:run_serve",
        "answer over HTTP",
        "Serve an exported bundle (moist export) over HTTP: images, texts or rows in; label, probabilities, domain\n"
        "and cost out. A page to try it is at /, the API at /docs; also /healthz, /readyz and /metrics. SIGTERM and\n"
        "Ctrl-C finish what is in flight. A new export in the same folder is loaded without dropping a request. With\n"
        "a token (in MOIST_TOKEN or a file) every prediction must carry it.",
        ["moist serve runs/digits/bundle", "moist serve runs/digits/bundle --port 9000 --set max_batch=128"],
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle's folder, exported; or the exported folder itself")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for all (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=_port, default=8000, help="0 for any free one (default: 8000)")
    parser.add_argument("--token-file", metavar="FILE", help="file with the token; by default $MOIST_TOKEN, if any")
    parser.add_argument("--runtime", choices=("onnxruntime", "openvino"), default="onnxruntime")
    parser.add_argument("--max-resident", type=_count, metavar="N", help="keep at most N specialists in memory")
    parser.add_argument("--memory-budget", type=_count, metavar="BYTES", help="keep at most BYTES of specialists")
    parser.add_argument("--threads", type=_count, metavar="N", default=1, help="threads of one prediction (default: 1)")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="A=B",
        action="append",
        default=[],
        help="change a limit, such as max_queue or request_timeout; docs/serving.md lists them",
    )
    parser.set_defaults(interrupted="what was in flight is answered")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, got {text!r}")
    return int(text)

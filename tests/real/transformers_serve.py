"""`transformers serve` with the pocket judge: `python tests/real/transformers_serve.py --run runs/pocket`; minutes."""

import subprocess

from serving import arguments, export, judge_all, keep, make_environment, serving

ABOUT = "import transformers as t, torch; print(t.__version__, torch.__version__)"


def main() -> None:
    options = arguments("transformers_serve")
    # Its image and video processors import torchvision, which must have been built for the same torch.
    steps = [["torch==2.14.1", "torchvision==0.29.1"], ["transformers[serving]==5.24.0", "pillow", "accelerate"]]
    python = make_environment(options.environment, options.folder, steps)
    merged = export(options.run, options.folder)
    command = [python.with_name("transformers"), "serve", merged, "--port", str(options.port), "--device", "cpu"]
    with serving(command, options.port, options.folder / "server.log") as tap:
        row = judge_all("transformers serve", tap, str(merged), options)
    versions = subprocess.run([python, "-c", ABOUT], capture_output=True, text=True, check=True).stdout.split()[-2:]
    row["versions"] = dict(zip(("transformers", "torch"), versions, strict=True))
    if options.write:
        keep("transformers_serve.json", row, options.folder)


if __name__ == "__main__":
    main()

"""python -m llm_aug: for launchers that start a module, as in `accelerate launch -m llm_aug finetune ...`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("llm_aug.cli", run_name="__main__", alter_sys=True)

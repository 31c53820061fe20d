"""Composes the sweep that its arguments name with Hydra's basic launcher.

    python compose.py --config-dir DIR --config-name trial -m finetune.beta=0,1 …

The job does nothing: what is timed is composing and launching a configuration.
"""
import hydra


@hydra.main(version_base="1.3", config_path=None)
def job(config):
    pass


job()

"""Hydra's basic launcher: each job writes one file of 1 KB into its output folder."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig


@hydra.main(version_base=None, config_path=None)
def main(_):
    (Path(HydraConfig.get().runtime.output_dir) / "file").write_bytes(bytes(1024))


main()

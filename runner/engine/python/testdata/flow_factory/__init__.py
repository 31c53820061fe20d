"""A stand-in for Flow-Factory, for the tests of flowfactory_engine.py: it reads the same YAML, draws pictures by chance, asks for
their rewards over HTTP in the same form, and saves a LoRA in peft's layout. It has the places that the engine enters."""

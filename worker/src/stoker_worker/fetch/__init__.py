"""The job that fills and checks a model cache: the one part of the worker that uses libraries.

It runs in the worker's own image, never beside an engine, so it may need a newer Python than 3.9.
`sources` speaks the protocols and knows no volume; everything else knows no protocol, and meets it
in `source.Source` alone.
"""

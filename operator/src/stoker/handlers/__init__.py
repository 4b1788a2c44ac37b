"""The only importer of Kopf: watches in, keys out, and the process around them."""

"""The custom resources: models that are parsed at the door, and the schema made from them.

`v1alpha1` holds what a user writes, `status` what Stoker writes back, `fields` the kinds of values
both are made of. `crd` turns them into the CustomResourceDefinition, `reference` into a page.
"""

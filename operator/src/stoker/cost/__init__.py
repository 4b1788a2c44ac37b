"""What a service costs: the price of its pods now, and their time so far, split by what it was for.

    prices   which pod is billed now, at what price, and what its time is for
    ledger   these over time: dollars by revision and share
    figures  dollars over requests and tokens

Pure: time is an argument. The words are explained in docs/cost.md.
"""

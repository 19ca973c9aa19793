"""Worlds: rule sets, processes and accesses made up at random, in which the pure model and the kernel must agree.

    declare.py   makes up checkpoints, resources and rules over a folder
    layout.py    the files of that folder, as they are and as acts change them
    model.py     what an act asks for, and what daemon/rules/judge.py says to it
    play.py      makes up processes and acts, each with the outcome and the counts that the model foretells
    compare.py   plays worlds on a ground and compares
    actor.c      carries out the acts there; acts.c has them one by one

A ground is a place with an nbspd: tests/native/test_property.py and tests/lab/test_property.py have one each.
"""

"""Common short words: with the space before it, each is one token to nearly every tokenizer."""

from __future__ import annotations

TEXT = (
    "the of and to in is that for it as was with be by on not he this are or his from at which but have an "
    "had they you were there one all we can her has will more no if out so up said what its about than into "
    "them only some time two may other new first any like then such now our over man even most made after "
    "also did many before must through back years where much your way well down should because each just "
    "those people how too little state good very make world still own see men work long here get both between "
    "life being under never day same another know while last might us great old year off come since against "
    "go came right used take three "
)
WORDS = tuple(TEXT.split())

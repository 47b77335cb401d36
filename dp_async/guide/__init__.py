"""The guide: what README leaves out, to read offline. Text alone, no code.

``python -m pydoc dp_async.guide.completeness`` shows a chapter in the terminal, and README's
command for the reference makes a site of all of them.

| chapter | answers |
|---|---|
| `dp_async.guide.completeness` | Does a crawl see every row? How is that proven, and when not? |
| `dp_async.guide.since` | How do I read only what changed, once or as a live feed? |
| `dp_async.guide.sync` | How do both lists get into a database, a data lake, or Arrow? |
| `dp_async.guide.scale` | What happens under load, in an outage, with many accounts? |
| `dp_async.guide.web` | How do I use it in FastAPI, Starlette and aiohttp.web? |

The reference is in the docstrings: ``help(dp_async.Client)``, ``help(dp_async.Work)``.
"""

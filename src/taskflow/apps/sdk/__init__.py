"""
The Python SDK: `from taskflow import TaskFlow`.

Where things are: `app` the application object · `function` what `@app.job` makes, and `bound` it with options ·
`arguments` typed arguments as a payload · `handle` a submitted job · `context` what a job function is given · `attempt`
how one runs · `database` where the app's data is, for event loops and for threads · `carrier` other people's
transactions · `loading` an app by its name.
"""

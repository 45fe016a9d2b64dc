"""The training loop: batches made by workers, one compiled step, exact resume, the folder of a run.

A model's train.py hands a Recipe (recipe.py) to fit in loop.py. train_step.py is the graph of a step, loader.py makes
batches ahead of time, state.py is all that a run resumes from, run_folder.py what it leaves on disk, settings.py what
can be set, initial.py whether first weights mean what they did, schedules.py the learning rates, signals.py how it ends
early, step_clock.py the speed in performance mode.
"""

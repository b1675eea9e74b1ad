from corpus.prepare import prepare
from ray_jobs.command_line import run_job

if __name__ == "__main__":
    run_job("prepare", prepare)

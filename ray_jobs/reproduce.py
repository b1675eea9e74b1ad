from ray_jobs.command_line import run_job
from workflow.reproduce import reproduce

if __name__ == "__main__":
    run_job("reproduce", reproduce)

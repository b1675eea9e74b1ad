from ray_jobs.command_line import run_job
from workflow.advise import advise

if __name__ == "__main__":
    run_job("advise", advise)

from ray_jobs.command_line import run_job
from workflow.sensitivity import sensitivity

if __name__ == "__main__":
    run_job("sensitivity", sensitivity)

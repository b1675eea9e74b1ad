from ray_jobs.command_line import run_job
from tuning.tune import tune

if __name__ == "__main__":
    run_job("tune", tune)

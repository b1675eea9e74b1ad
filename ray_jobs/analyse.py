from ray_jobs.command_line import run_job
from tuning.analyse import analyse

if __name__ == "__main__":
    run_job("analyse", analyse)

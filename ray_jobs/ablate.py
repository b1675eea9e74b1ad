from ray_jobs.command_line import run_job
from workflow.ablate import ablate

if __name__ == "__main__":
    run_job("ablate", ablate)

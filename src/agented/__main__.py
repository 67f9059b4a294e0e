from agented.cli import main

main()
